"""Build, ship and save: the bake calls, their events, retries and failures."""
