-- One row per answer about a whole scan: the truth beside it. A scan is present if a target that slices were cut for is a nodule.
CREATE VIEW scan_answers AS
SELECT a.source, a.reader, a.mode, a.dataset, a.target_uid AS image_uid, a.profile, a.z_offsets, a.control, s.presence, a.answer,
       a.answer = s.presence AS correct, a.score, a.status, a.reason, g.options, g.option_scores, g.raw_text, a.generation_key
FROM answers a
JOIN (SELECT source, mode, dataset, image_uid, CASE WHEN bool_or(presence = 'present') THEN 'present' ELSE 'absent' END AS presence
      FROM slices GROUP BY source, mode, dataset, image_uid) s
  ON s.image_uid = a.target_uid AND s.source = a.source AND s.mode = a.mode AND s.dataset = a.dataset
LEFT JOIN generations g ON g.generation_key = a.generation_key AND g.target_uid = a.target_uid AND g.control = a.control
             AND g.source = a.source AND g.reader = a.reader AND g.mode = a.mode AND g.dataset = a.dataset
WHERE a.slice_uid IS NULL AND a.task = 'presence';
