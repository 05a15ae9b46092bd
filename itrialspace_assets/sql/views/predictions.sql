-- One row per answer: the truth beside it, split and strata of the report that scored it. The first columns are named as in the published results.
CREATE VIEW predictions AS
SELECT s.published_id AS case_id, s.mode, s.path AS image_path, a.task, g.prompt_id AS prompt, g.raw_text AS raw_output, a.answer AS prediction,
       a.status AS parse_status, CASE a.task WHEN 'presence' THEN s.presence WHEN 'size' THEN s.size_class WHEN 'lobe' THEN s.lobe
       WHEN 'malignancy' THEN CASE s.label WHEN 1 THEN 'malignant' WHEN 0 THEN 'benign' END END AS ground_truth,
       CASE WHEN ground_truth NOT IN ('background', 'unknown') THEN a.answer = ground_truth END AS correct,
       a.source, a.reader, s.dataset, s.case_uid, s.pair_uid, s.paired, s.slice_uid, s.target_uid, s.slice_z, s.guidance_site, a.condition, a.control,
       s.presence, s.negative_type, s.size_bucket, s.size_class, s.lobe, s.diameter_mm, a.score, a.reason, a.scorer, g.options, g.option_scores,
       a.generation_key, s.host_person_uid, s.donor_person_uid, s.anatomy, m.split, m.strata
FROM answers a
JOIN slices s ON s.slice_uid = a.slice_uid AND s.condition = a.condition AND s.source = a.source AND s.mode = a.mode AND s.dataset = a.dataset
             AND s.control = CASE WHEN a.control IN ('text_only', 'options_rotated', 'prompt_paraphrase') THEN 'none' ELSE a.control END
LEFT JOIN generations g ON g.generation_key = a.generation_key AND g.target_uid = a.target_uid AND g.condition = a.condition AND g.control = a.control
             AND g.source = a.source AND g.reader = a.reader AND g.mode = a.mode AND g.dataset = a.dataset
LEFT JOIN metric_cases m ON a.control = 'none' AND m.slice_uid = s.slice_uid AND m.case_uid = s.case_uid AND m.condition = a.condition AND m.task = a.task
             AND m.source = a.source AND m.reader = a.reader AND m.analysis = CASE WHEN a.mode = 'real' THEN 'real-' || a.dataset ELSE a.mode END;
