from django.urls import path

from tests.site import views

urlpatterns = [
    path("counts", views.counts),
    path("login/<str:name>", views.log_in),
    path("visit", views.visit),
    path("publish", views.publish),
    path("expel/<str:name>", views.expel),
    path("slow", views.slow),
    path("stacks", views.stacks),
]
