"""Tables: files to Arrow, columns to what is fitted on the train split, rows to the arrays that a model takes."""
