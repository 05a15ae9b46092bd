-- Per dataset: people, scans with and without a nodule, labels, sizes, usable rows, files on disk, warnings about its table.
CREATE VIEW dataset_summary AS
SELECT s.dataset, count(DISTINCT s.person_uid) AS people, count(*) AS scans, count(*) FILTER (s.n_nodules = 0) AS scans_without_nodule,
       any_value(n.nodules) AS nodules, any_value(n.malignant) AS malignant, any_value(n.unlabelled) AS unlabelled, any_value(n.median_mm) AS median_mm,
       any_value(n.usable) AS position_usable, count(*) FILTER (s.has_organ_map) AS organ_maps, count(*) FILTER (s.has_ct) AS cts,
       coalesce(any_value(f.warnings), 0) AS warnings, min(s.annotation_completeness) AS annotation_completeness, min(s.anatomy) AS anatomy
FROM scans s
LEFT JOIN (SELECT dataset, count(*) AS nodules, count(*) FILTER (label = 1) AS malignant, count(*) FILTER (label IS NULL) AS unlabelled,
                  round(median(reinsertion_nodule_diam_mm), 1) AS median_mm, count(*) FILTER (position_usable) AS usable FROM nodules GROUP BY dataset) n USING (dataset)
LEFT JOIN (SELECT dataset, count(*) FILTER (severity = 'warning') AS warnings FROM findings GROUP BY dataset) f USING (dataset)
GROUP BY s.dataset;
