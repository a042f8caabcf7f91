python manage.py shell -c "
from ws4redis.publisher import RedisPublisher
print(RedisPublisher(facility='news', broadcast=True).publish_message('from the shell'))
"
