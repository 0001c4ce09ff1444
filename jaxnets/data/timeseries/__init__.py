"""Time series: a table with a column of times becomes windows of what was and of what comes."""
