"""`waybill policy` and `waybill catalog`: what decides, looked at in its files, without a broker or a database."""
