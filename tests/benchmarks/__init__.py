"""How fast and lean this project is, measured side by side with what a team would otherwise write."""
