"""The rules: who may see whom, who follows whom."""
