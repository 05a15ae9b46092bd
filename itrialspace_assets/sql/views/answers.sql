-- One row per slice, condition and task: the truth beside the answer.
CREATE VIEW answers AS
SELECT p.source, p.reader, s.mode, s.dataset, s.case_uid, s.pair_uid, s.paired, s.slice_uid, s.slice_z, s.guidance_site, s.condition, p.task, s.presence, s.negative_type,
       s.size_bucket, s.size_class, s.lobe, s.diameter_mm, p.answer, p.score, p.status,
       CASE p.task WHEN 'presence' THEN p.answer = s.presence WHEN 'size' THEN p.answer = s.size_class
                   WHEN 'lobe' THEN p.answer = s.lobe END AS correct,
       s.host_person_uid, s.donor_person_uid, s.anatomy
FROM predictions p
JOIN slices s ON s.slice_uid = p.slice_uid AND s.condition = p.condition AND s.source = p.source AND s.mode = p.mode AND s.dataset = p.dataset;
