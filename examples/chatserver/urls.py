from django.urls import include, path
from django.views.generic import RedirectView

from chatserver import views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="broadcast_chat")),
    path("chat/", views.broadcast_chat, name="broadcast_chat"),
    path("accounts/", include("django.contrib.auth.urls")),
]
