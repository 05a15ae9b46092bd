-- What each arm is made of: cases, malignant share, sizes, lobes, host ages, donor and host reuse.
CREATE VIEW cohort_balance AS
SELECT c.mode, c.trial, c.arm, count(DISTINCT c.case_uid) AS cases, count(*) AS nodules, round(avg(p.label), 4) AS malignant_share,
       round(median(p.planned_diameter_mm), 2) AS median_mm, count(DISTINCT p.lobe) AS lobes, round(avg(c.host_age), 1) AS mean_host_age,
       round(avg((c.host_sex = 'M')::INT), 3) AS male_share, count(DISTINCT p.donor_nodule_uid) AS donors, count(DISTINCT c.host_scan_uid) AS hosts,
       count(*) FILTER (p.relaxations <> '') AS relaxed, min(c.anatomy) AS anatomy
FROM cases c JOIN case_nodules p USING (case_uid) GROUP BY c.mode, c.trial, c.arm;
