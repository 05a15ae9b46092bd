-- How many nodules, scans and people does each dataset have, and how many are malignant?
SELECT dataset, nodules, scans, scans_without_nodule, people, malignant, unlabelled, median_mm, warnings FROM dataset_summary ORDER BY nodules DESC;
