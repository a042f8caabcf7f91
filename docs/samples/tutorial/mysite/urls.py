from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import path

from mysite import views

urlpatterns = [
    path("", views.news),
    path("publish/", views.publish, name="publish"),
]
# while DEBUG is on; on a real site the web server does this
urlpatterns += staticfiles_urlpatterns()
