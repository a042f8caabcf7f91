from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, re_path, reverse_lazy
from django.views.generic import RedirectView

from tests.site06 import views

urlpatterns = [
    re_path(r"^chat/$", views.BroadcastChatView.as_view(), name="broadcast_chat"),
    re_path(r"^userchat/$", views.UserChatView.as_view(), name="user_chat"),
    re_path(r"^groupchat/$", views.GroupChatView.as_view(), name="group_chat"),
    re_path(r"^notice/$", views.NoticeView.as_view()),
    re_path(r"^self/(?P<audience>\w+)/$", views.SelfView.as_view()),
    re_path(r"^legacy/(?P<audience>\w+)/$", views.LegacyView.as_view()),
    re_path(r"^last/(?P<audience>\w+)/$", views.LastMessageView.as_view()),
    re_path(r"^token/$", views.TokenView.as_view()),
    re_path(r"^accounts/", include("django.contrib.auth.urls")),
    re_path(r"^admin/", admin.site.urls),
    re_path(r"^$", RedirectView.as_view(url=reverse_lazy("broadcast_chat"))),
]
urlpatterns += staticfiles_urlpatterns()
