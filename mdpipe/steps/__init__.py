"""The steps of the pipeline: functions from files to files."""
