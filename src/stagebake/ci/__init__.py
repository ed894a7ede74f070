"""Which CI run is this, and whose code does it build?"""
