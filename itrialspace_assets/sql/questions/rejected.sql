-- What was put aside, where, and why?
SELECT * FROM rejections ORDER BY cases DESC, stage, partition;
