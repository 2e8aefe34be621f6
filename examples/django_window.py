"""A Django system with accounts of its own: a person links theirs once, by the old password; later signing in opens it.

Run: CROSSHALL_RP_SETTINGS=window.toml gunicorn examples.django_window:application (the file sets `accounts` too).
"""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=os.environ.get("ALLOWED_HOSTS", "testserver,window.test").split(","),
        SECRET_KEY=os.environ.get("SECRET_KEY", "an example: 50 random characters in production"),
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[
            "relying_party_sdk.adapters.django.CrosshallMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("DATABASE", "old.sqlite")}
        },
        USE_TZ=True,
    )
    django.setup()

from django.contrib.auth.models import User
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_POST

FORM = """<!doctype html><title>绑定原账号</title><form method="post" action="/link">
<p>第一次使用统一登录：请用原来的用户名和密码绑定一次。
<input name="username"><input name="password" type="password"><button>绑定</button></form>"""


def cases(request: HttpRequest) -> Any:
    """The old page: of the old account, opened by the new sign-in."""
    link = request.crosshall.account()
    if link is None:
        return HttpResponse(FORM)
    user = User.objects.get(username=link.account)
    return HttpResponse(f"cases of {user.get_username()}")


@require_POST
def bind(request: HttpRequest) -> Any:
    """Link once, by the old password."""
    name, password = request.POST["username"], request.POST["password"]

    def proved() -> bool:
        user = User.objects.filter(username=name, is_active=True).first()
        return user is not None and user.check_password(password)

    request.crosshall.link_account(name, proved)
    return redirect("/")


urlpatterns = [path("", cases), path("link", bind)]


def __getattr__(name: str) -> Any:
    if name == "application":
        return get_wsgi_application()
    raise AttributeError(name)
