"""Rules about resources, one small file a concern; each finding says what was found and what to do."""
