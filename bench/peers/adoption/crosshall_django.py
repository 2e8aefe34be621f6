from django.http import HttpResponse
from django.urls import path

from relying_party_sdk.adapters.django import require

MIDDLEWARE = ["relying_party_sdk.adapters.django.CrosshallMiddleware"]


def home(request):
    person = request.crosshall.person
    return HttpResponse(person.subject if person else "nobody")


@require()
def matters(request):
    return HttpResponse(request.crosshall.person.subject)


urlpatterns = [path("", home), path("matters", matters)]
