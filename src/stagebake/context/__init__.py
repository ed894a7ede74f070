"""Which files are in the build context, and what do they hold?"""
