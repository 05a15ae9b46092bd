-- How often is each donor used, and how many different donors does a trial have?
SELECT mode, count(*) AS nodules, count(DISTINCT donor_nodule_uid) AS donors, count(DISTINCT host_person_uid) AS host_people,
       max(uses) AS most_uses, round(sum(uses) ^ 2 / sum(uses * uses), 1) AS effective_donors
FROM (SELECT *, count(*) OVER (PARTITION BY mode, donor_nodule_uid) AS uses FROM case_outcomes) GROUP BY mode ORDER BY mode;
