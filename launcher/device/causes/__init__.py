"""What facts mean: one `Cause` per cause, a file per topic; rules, docs and `explain` are derived from them."""
