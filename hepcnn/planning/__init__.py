"""What a study will cost: a short calibration on the machine it will run on, and the arithmetic from there."""
