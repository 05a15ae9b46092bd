-- By how much does the same slice score higher with its lesion than without?
SELECT a.source, a.reader, a.mode, a.condition, count(*) AS pairs, round(median(a.score - b.score), 2) AS median_gain,
       round(avg((a.score > b.score)::INT), 3) AS share_higher
FROM answers a JOIN answers b USING (source, reader, mode, dataset, pair_uid, condition, task)
WHERE task = 'presence' AND a.presence = 'present' AND b.presence = 'absent' AND a.paired AND b.paired
GROUP BY ALL ORDER BY ALL;
