-- Which people are in more than one dataset?
SELECT person_uid, datasets, n_scans, n_nodules FROM patients WHERE datasets LIKE '%;%' ORDER BY person_uid;
