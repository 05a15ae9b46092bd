-- How many nodules, scans and people does each dataset bring, and how many are malignant?
SELECT dataset, count(*) AS nodules, count(DISTINCT scan_uid) AS scans, count(DISTINCT person_uid) AS people,
       count(*) FILTER (label = 1) AS malignant, count(*) FILTER (label IS NULL) AS unlabelled,
       round(median(reinsertion_nodule_diam_mm), 1) AS median_mm
FROM nodules GROUP BY dataset ORDER BY nodules DESC;
