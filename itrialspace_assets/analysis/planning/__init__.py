"""What a study or a trial would tell and cost for so many cases, before it is run. Runs nothing and writes nothing."""
