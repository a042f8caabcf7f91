from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from ws4redis.publisher import RedisPublisher


def news(request):
    return render(request, "mysite/news.html")


@require_POST
def publish(request):
    RedisPublisher(facility="news", broadcast=True).publish_message(request.POST["message"])
    return HttpResponse(status=204)
