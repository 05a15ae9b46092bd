-- How far do inserted nodules lie from the place, and differ from the size, that was asked for?
SELECT mode, arm, count(*) AS nodules, round(median(shift_mm), 2) AS median_shift_mm, round(max(shift_mm), 2) AS max_shift_mm,
       round(max(abs(diameter_mm - planned_diameter_mm)), 3) AS max_diameter_error_mm, count(*) FILTER (relaxations <> '') AS relaxed
FROM case_outcomes GROUP BY ALL ORDER BY ALL;
