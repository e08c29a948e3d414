"""Messages to people about events, by way of Apprise: ntfy, Telegram, e-mail and others."""
