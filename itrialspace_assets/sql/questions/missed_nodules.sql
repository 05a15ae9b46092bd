-- Which nodules did a reader miss on plain slices, largest first?
SELECT source, reader, case_uid, size_bucket, round(diameter_mm, 1) AS diameter_mm, lobe, round(score, 1) AS score
FROM answers WHERE task = 'presence' AND condition = 'plain' AND presence = 'present' AND NOT correct
ORDER BY answers.diameter_mm DESC;
