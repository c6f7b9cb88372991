"""Speech for the experiment: sentences put together here, spoken by espeak-ng in many voices, at 16 kHz and 16 bits."""

import random
import shutil
import subprocess
import sys
from io import BytesIO

import numpy as np
import soundfile
import torch
from scipy.signal import resample_poly

RATE = 16_000
LOUDNESS = 0.08  # root mean square, before clipping at 0.95
# For each language: voices, who, does, what, where.
LANGUAGES = {
    "en": (
        ["en-gb", "en-us", "en-gb-scotland", "en-029"],
        "the baker|my neighbour|an old sailor|the youngest sister|our teacher|the clockmaker|a tired farmer|nobody",
        "carried|painted|forgot|repaired|described|sold|found|admired",
        "a wooden chair|the blue window|seven letters|a heavy lantern|the broken violin|his yellow coat|four apples",
        "behind the station|before the winter|near the old harbour|on a quiet evening|without a word|in the garden",
    ),
    "de": (
        ["de"],
        "der Gärtner|meine Tante|ein junger Lehrer|die Schneiderin|unser Nachbar|der alte Fischer",
        "verkauft|bemalt|sucht|vergisst|beschreibt|bewundert",
        "eine schwere Kiste|das kleine Fenster|zwölf Briefe|die grüne Lampe|einen hölzernen Stuhl|das Fahrrad",
        "hinter dem Bahnhof|vor dem Winter|am Hafen|an einem stillen Abend|ohne ein Wort|zwischen den Bäumen",
    ),
    "fr": (
        ["fr-fr", "fr-be"],
        "le boulanger|ma voisine|un vieux marin|la petite soeur|notre professeur|le jardinier",
        "cherche|oublie|répare|décrit|regarde|dessine",
        "une chaise en bois|la fenêtre bleue|sept lettres|une lourde lanterne|le violon cassé|son manteau jaune",
        "derrière la gare|avant l'hiver|près du port|un soir tranquille|sans un mot|dans le jardin",
    ),
    "es": (
        ["es", "es-419"],
        "el panadero|mi vecina|un viejo marinero|la hermana menor|nuestro maestro|el relojero",
        "busca|olvida|repara|describe|vende|pinta",
        "una silla de madera|la ventana azul|siete cartas|una lámpara pesada|el violín roto|cuatro manzanas",
        "detrás de la estación|antes del invierno|cerca del puerto|una tarde tranquila|sin una palabra|en el jardín",
    ),
    "it": (
        ["it"],
        "il fornaio|la mia vicina|un vecchio marinaio|la sorella minore|il nostro maestro|l'orologiaio",
        "cerca|dimentica|ripara|descrive|vende|dipinge",
        "una sedia di legno|la finestra azzurra|sette lettere|una lampada pesante|il violino rotto|quattro mele",
        "dietro la stazione|prima dell'inverno|vicino al porto|una sera tranquilla|senza una parola|nel giardino",
    ),
    "pl": (
        ["pl"],
        "piekarz|moja sąsiadka|stary żeglarz|młodsza siostra|nasz nauczyciel|ogrodnik",
        "sprzedaje|maluje|naprawia|opisuje|znajduje|niesie",
        "drewniane krzesło|niebieskie okno|siedem listów|ciężką lampę|zepsute skrzypce|cztery jabłka",
        "za dworcem|przed zimą|blisko portu|w cichy wieczór|bez słowa|w ogrodzie",
    ),
    "fi": (
        ["fi"],
        "leipuri|naapurini|vanha merimies|pikkusisko|opettajamme|puutarhuri",
        "myy|maalaa|korjaa|kuvailee|löytää|kantaa",
        "puisen tuolin|sinisen ikkunan|seitsemän kirjettä|raskaan lampun|rikkinäisen viulun|neljä omenaa",
        "aseman takana|ennen talvea|sataman lähellä|hiljaisena iltana|sanomatta sanaakaan|puutarhassa",
    ),
    "nl": (
        ["nl"],
        "de bakker|mijn buurvrouw|een oude zeeman|het jongste zusje|onze leraar|de tuinman",
        "verkoopt|schildert|herstelt|beschrijft|vindt|draagt",
        "een houten stoel|het blauwe raam|zeven brieven|een zware lamp|de kapotte viool|vier appels",
        "achter het station|voor de winter|bij de haven|op een stille avond|zonder een woord|in de tuin",
    ),
}
TIMBRES = ["", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5", "+croak", "+klatt3"]


def sentences(count: int) -> list[tuple[str, str, int, int]]:
    """The first `count` of one endless list: voice, text, pitch and speed. No text comes twice."""
    draw, known, found = random.Random(7), set(), []
    while len(found) < count:
        voices, *words = LANGUAGES[draw.choice(sorted(LANGUAGES))]
        text = " ".join(draw.choice(list_.split("|")) for list_ in words) + "."
        voice = draw.choice(voices) + draw.choice(TIMBRES)
        pitch, speed = draw.randint(20, 80), draw.randint(130, 200)
        if text not in known:
            known.add(text)
            found.append((voice, text, pitch, speed))
    return found


def spoken(voice: str, text: str, pitch: int, speed: int) -> torch.Tensor:
    """[samples] in [−1, 1], on the grid of 16 bits."""
    command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", text]
    wave, rate = soundfile.read(BytesIO(subprocess.run(command, capture_output=True, check=True).stdout))
    wave = resample_poly(wave, RATE // 50, rate // 50)
    wave = np.clip(wave * LOUDNESS / max(wave.std(), 1e-4), -0.95, 0.95)
    return (torch.from_numpy(wave).float() * 32768).round() / 32768


def utterances(first: int, count: int) -> list[torch.Tensor]:
    """Sentences number `first` to `first + count` of the list."""
    if shutil.which("espeak-ng") is None:
        sys.exit("espeak-ng is not installed; on Debian: apt install espeak-ng")
    return [spoken(*sentence) for sentence in sentences(first + count)[first:]]
