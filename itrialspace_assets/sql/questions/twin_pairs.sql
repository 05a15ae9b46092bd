-- By how much does the same slice score higher with its lesion than without?
SELECT a.source, a.reader, a.mode, a.condition, count(*) AS pairs, round(median(a.score - b.score), 2) AS median_gain,
       round(avg((a.score > b.score)::INT), 3) AS share_higher
FROM predictions a JOIN predictions b USING (source, reader, mode, dataset, pair_uid, condition, control, task)
WHERE task = 'presence' AND control = 'none' AND a.presence = 'present' AND b.presence = 'absent' AND a.paired AND b.paired
GROUP BY ALL ORDER BY ALL;
