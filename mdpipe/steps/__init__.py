"""The steps of the pipeline: functions from files to files, which know no scheduler."""
