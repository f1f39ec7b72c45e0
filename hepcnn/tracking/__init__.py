"""Spools and records → MLflow. The only room that imports mlflow."""
