-- How does sensitivity change with size? (mode 2, plain slices)
SELECT source, reader, replace(stratum, 'size_bucket=', '') AS size, round(estimate, 3) AS sensitivity, round(low, 3) AS low, round(high, 3) AS high, n_slices
FROM metrics WHERE analysis = 'm02_size_detection_curve' AND metric = 'sensitivity' AND condition = 'plain' AND stratum LIKE 'size_bucket=%'
ORDER BY source, reader, list_position(['<5mm', '5-10mm', '10-15mm', '15-20mm', '20-30mm', '>30mm'], size);
