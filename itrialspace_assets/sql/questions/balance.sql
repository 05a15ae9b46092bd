-- What is each arm made of?
SELECT * FROM cohort_balance ORDER BY mode, arm;
