"""What is there: facts, probes, rules, plan. torch only in probe children."""
