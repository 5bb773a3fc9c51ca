"""Drills: observers outside the machine that say whether a promise was kept."""
