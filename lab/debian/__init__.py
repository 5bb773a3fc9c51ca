"""What the lab takes from Debian: packages that it installs, and packages that it only looks into."""
