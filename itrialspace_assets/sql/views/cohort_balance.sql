-- What each arm is made of: cases, malignant share, sizes, lobes, host ages, donor and host reuse.
CREATE VIEW cohort_balance AS
SELECT c.mode, c.trial, c.arm, count(*) AS cases, sum(p.nodules) AS nodules, round(avg(p.malignant), 4) AS malignant_share, round(median(p.median_mm), 2) AS median_mm,
       any_value(d.lobes) AS lobes, round(avg(c.host_age), 1) AS mean_host_age, round(avg((c.host_sex = 'M')::INT), 3) AS male_share,
       any_value(d.donors) AS donors, count(DISTINCT c.host_scan_uid) AS hosts, count(*) FILTER (p.relaxed) AS relaxed, min(c.anatomy) AS anatomy
FROM cases c
LEFT JOIN (SELECT case_uid, count(*) AS nodules, max(label) FILTER (nodule_idx = 0) AS malignant, median(planned_diameter_mm) AS median_mm,
                  bool_or(relaxations <> '') AS relaxed FROM case_nodules WHERE present GROUP BY case_uid) p USING (case_uid)
LEFT JOIN (SELECT q.mode, q.arm, count(DISTINCT n.lobe) AS lobes, count(DISTINCT n.donor_nodule_uid) AS donors
           FROM cases q JOIN case_nodules n USING (case_uid) GROUP BY q.mode, q.arm) d ON d.mode = c.mode AND d.arm = c.arm
GROUP BY c.mode, c.trial, c.arm;
