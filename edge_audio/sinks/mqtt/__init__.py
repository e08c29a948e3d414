"""Events to an MQTT broker, and to Home Assistant by its discovery."""
