-- Which cases were rejected, where, and why?
SELECT * FROM rejections ORDER BY cases DESC, stage, partition;
