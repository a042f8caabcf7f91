redis-cli MONITOR | grep --line-buffered ':news'
