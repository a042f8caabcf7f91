"""Users who are known by their e-mail address, and belong to no Django group."""

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Team(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "people"


class PersonManager(BaseUserManager):
    def create_user(self, email, password):
        person = self.model(email=email)
        person.set_password(password)
        person.save()
        return person


class Person(AbstractBaseUser):
    email = models.EmailField(unique=True)
    #: named as Django's, of another model
    groups = models.ManyToManyField(Team)

    objects = PersonManager()

    USERNAME_FIELD = "email"

    class Meta:
        app_label = "people"
