from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from chatserver import views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="broadcast_chat")),
    path("chat/", views.broadcast_chat, name="broadcast_chat"),
    path("userchat/", views.user_chat, name="user_chat"),
    path("groupchat/", views.group_chat, name="group_chat"),
    path("accounts/", include("django.contrib.auth.urls")),
    path("admin/", admin.site.urls),
]
