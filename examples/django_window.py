"""A Django system with accounts of its own: a person links theirs once, by the old password; later signing in opens it.

Run: CROSSHALL_RP_SETTINGS=window.toml gunicorn examples.django_window:application (the file sets `accounts` too).
"""

from __future__ import annotations

import os
from pathlib import Path
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
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_POST

PAGE = """<!doctype html>
<html lang="zh-Hans"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>档案查询系统</title><link rel="stylesheet" href="/window.css"></head><body class="archive">
<header><div class="wide"><p class="name"><a href="/">档案查询系统</a></p><div class="account">
<form method="post" action="{}"><button id="sign-out">退出统一登录</button></form></div></div></header>
<main class="wide">{}</main></body></html>"""
FORM = """<h1>绑定原账号</h1><p class="lead">第一次使用统一登录：请用原来的用户名和密码绑定一次，以后不再需要密码。</p>
<form class="matter" method="post" action="/link">
<label for="username">用户名</label><input id="username" name="username" autocomplete="username" required>
<label for="password">密码</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button>绑定</button></form>"""
CASES = """<h1>我的档案</h1><p class="lead">原账号：<strong data-account="{0}">{0}</strong></p>
<section><dl><div><dt>本次登录的等级</dt><dd>{1}</dd></div><div><dt>与省中心的连接</dt><dd>{2}</dd></div></dl></section>"""
LINE = {"fresh": "正常", "near": "刚中断", "day": "中断一天内", "days": "中断数日"}
STYLE = Path(__file__).parent / "window" / "static" / "window.css"


def page(request: HttpRequest, body: Any) -> HttpResponse:
    """A page of the system."""
    return HttpResponse(format_html(PAGE, request.crosshall.sign_out_address, body))


def cases(request: HttpRequest) -> Any:
    """The old page: of the old account, opened by the new sign-in."""
    link = request.crosshall.account()
    if link is None:
        return page(request, mark_safe(FORM))  # noqa: S308 - ours, as it stands
    user, person = User.objects.get(username=link.account), request.crosshall.person
    return page(request, format_html(CASES, user.get_username(), person.level, LINE.get(person.rung, person.rung)))


@require_POST
def bind(request: HttpRequest) -> Any:
    """Link once, by the old password."""
    name, password = request.POST["username"], request.POST["password"]

    def proved() -> bool:
        user = User.objects.filter(username=name, is_active=True).first()
        return user is not None and user.check_password(password)

    request.crosshall.link_account(name, proved)
    return redirect("/")


def style(_: HttpRequest) -> HttpResponse:
    """The style sheet that all examples share."""
    return HttpResponse(STYLE.read_bytes(), content_type="text/css")


urlpatterns = [path("", cases), path("link", bind), path("window.css", style)]


def prepare() -> None:
    """Tables at the first start, and the account that `OLD_ACCOUNT` (name:password) names."""
    call_command("migrate", verbosity=0)
    name, _, password = os.environ.get("OLD_ACCOUNT", "").partition(":")
    if name and not User.objects.filter(username=name).exists():
        User.objects.create_user(name, password=password)


def __getattr__(name: str) -> Any:
    if name == "application":
        prepare()
        return get_wsgi_application()
    raise AttributeError(name)
