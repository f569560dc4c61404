# ruff: noqa: RUF001  # letters of many scripts
"""The texts with which phones report reactions and edits to those who cannot see them, language by language.

Apple's Messages and Google's Messages write them in the language of the phone. `{q}` is what was reacted to: a text in quotation marks, or
one of the language's `things`; `{e}` is an emoji; `{r}` is a short name of a reaction in quotation marks. A colon before `{q}` and a full
stop at the end may be there or not; apostrophes are written straight, whatever the phone writes.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTexts:
    """One language: `reactions` and `edits` are one text a line; `things` are what a phone writes for a message without a text,
    where people would not write the same of their own accord.
    """

    reactions: str
    edits: str
    things: tuple[str, ...] = ()


REPORT_TEXTS: dict[str, ReportTexts] = {
    "en": ReportTexts(
        reactions="""
            Loved {q}
            Liked {q}
            Disliked {q}
            Laughed at {q}
            Emphasized {q}
            Emphasised {q}
            Questioned {q}
            Removed a heart from {q}
            Removed a like from {q}
            Removed a dislike from {q}
            Removed a laugh from {q}
            Removed an exclamation from {q}
            Removed an exclamation mark from {q}
            Removed a question mark from {q}
            Removed {e} from {q}
            Removed a {e} reaction from {q}
            Removed a sticker from {q}
            Reacted {e} to {q}
            Reacted with {e} to {q}
            Reacted to {q} with {e}
            Reacted to {q}
            Reacted with a sticker to {q}
            Reacted with a photomoji to {q}
            {e} to {q}
            {e} removed from {q}
        """,
        edits="""
            Edited to {q}
        """,
        things=(
            "an image", "a photo", "a movie", "a video", "an audio message", "an attachment", "a sticker", "a location", "a contact",
            "a GIF", "a file", "a document", "a link", "a message", "a voice message",
        ),
    ),
    "de": ReportTexts(
        reactions="""
            Gefällt {q}
            Gefällt mir {q}
            Gefällt nicht {q}
            Gefällt mir nicht {q}
            Lacht über {q}
            Lachte über {q}
            Betont {q}
            Betonte {q}
            Hinterfragt {q}
            Hinterfragte {q}
            {q} ein Herz hinzugefügt
            {q} ein Lachen hinzugefügt
            {q} ein Ausrufezeichen hinzugefügt
            {q} ein Fragezeichen hinzugefügt
            {q} ein {r} hinzugefügt
            {q} {e} hinzugefügt
            Herz von {q} entfernt
            Lachen von {q} entfernt
            Ausrufezeichen von {q} entfernt
            Fragezeichen von {q} entfernt
            {r} von {q} entfernt
            Ein Herz von {q} entfernt
            {e} von {q} entfernt
            {e} aus {q} entfernt
            Entfernte {e} aus {q}
            Entfernte {e} von {q}
            Hat mit {e} auf {q} reagiert
            Mit {e} auf {q} reagiert
            Hat mit einem Sticker auf {q} reagiert
            {e} auf {q}
            {e} zu {q}
        """,
        edits="""
            Bearbeitet in {q}
            Bearbeitet zu {q}
            Geändert in {q}
            Geändert zu {q}
            In {q} geändert
            Zu {q} bearbeitet
        """,
        things=(
            "ein Bild", "einem Bild", "ein Foto", "einem Foto", "ein Video", "einem Video", "einen Film", "einem Film", "einen Anhang",
            "einem Anhang", "ein Anhang", "eine Audionachricht", "einer Audionachricht", "einen Sticker", "einem Sticker",
            "eine Sprachnachricht", "einer Sprachnachricht",
        ),
    ),
    "fr": ReportTexts(
        reactions="""
            A ajouté un {r} à {q}
            a ajouté un {r} à {q}
            A ajouté un rire à {q}
            a ajouté un rire à {q}
            A ajouté un cœur à {q}
            A ajouté des points d'exclamation à {q}
            a ajouté des points d'exclamation à {q}
            A ajouté un point d'interrogation à {q}
            a ajouté un point d'interrogation à {q}
            A ajouté {e} à {q}
            A attribué la mention {r} à {q}
            A adoré {q}
            A aimé {q}
            N'a pas aimé {q}
            A ri de {q}
            A souligné {q}
            A mis en évidence {q}
            A mis l'accent sur {q}
            A posé une question sur {q}
            S'est interrogé sur {q}
            S'est interrogée sur {q}
            S'est interrogé(e) sur {q}
            A réagi avec {e} à {q}
            A réagi {e} à {q}
            A réagi par {e} à {q}
            A réagi avec un autocollant à {q}
            A retiré son {r} de {q}
            a retiré son {r} de {q}
            A retiré un {r} de {q}
            A retiré un cœur de {q}
            A retiré un J'aime de {q}
            A retiré un J'adore de {q}
            A retiré un Je n'aime pas de {q}
            A retiré son rire de {q}
            a retiré son rire de {q}
            A retiré un rire de {q}
            A retiré ses points d'exclamation de {q}
            a retiré ses points d'exclamation de {q}
            A retiré un point d'exclamation de {q}
            A retiré son point d'interrogation de {q}
            a retiré son point d'interrogation de {q}
            A retiré un point d'interrogation de {q}
            A retiré {e} de {q}
            A supprimé {e} de {q}
            {e} à {q}
            {e} sur {q}
        """,
        edits="""
            Modifié en {q}
            Modifiée en {q}
            A modifié en {q}
            A été modifié en {q}
            Modifié par {q}
            Remplacé par {q}
        """,
        things=(
            "une image", "une photo", "un film", "une vidéo", "une pièce jointe", "un message audio", "un autocollant", "un message vocal",
        ),
    ),
    "es": ReportTexts(
        reactions="""
            Le encanta {q}
            Le encantó {q}
            Le ha encantado {q}
            Le gusta {q}
            Le gustó {q}
            Le ha gustado {q}
            No le gusta {q}
            No le gustó {q}
            Le hace gracia {q}
            Le hizo gracia {q}
            Le dio risa {q}
            Se rio de {q}
            Se rió de {q}
            Le sorprende {q}
            Enfatizó {q}
            Exclamó por {q}
            Duda sobre {q}
            Dudó sobre {q}
            Cuestionó {q}
            Ya no le encanta {q}
            Ya no le gusta {q}
            Ya no le disgusta {q}
            Ya no le hace gracia {q}
            Ya no le sorprende {q}
            Ya no duda sobre {q}
            Dejó de encantarle {q}
            Dejó de gustarle {q}
            Dejó de no gustarle {q}
            Dejó de darle risa {q}
            Dejó de exclamar por {q}
            Dejó de dudar sobre {q}
            Se ha reaccionado con {e} a {q}
            Ha reaccionado con {e} a {q}
            Reaccionó con {e} a {q}
            Reaccionó con un sticker a {q}
            Se ha añadido {e} a {q}
            Ha añadido {e} a {q}
            Se ha eliminado {e} de {q}
            Ha eliminado {e} de {q}
            Eliminó {e} de {q}
            Se quitó {e} de {q}
            Quitó {e} de {q}
            Quitó un corazón de {q}
            Eliminó un corazón de {q}
            {e} a {q}
        """,
        edits="""
            Editado como {q}
            Editado a {q}
            Se editó a {q}
            Se ha editado a {q}
            Modificado a {q}
            Cambiado a {q}
        """,
        things=(
            "una imagen", "una foto", "un vídeo", "un video", "una película", "un archivo adjunto", "un mensaje de audio",
            "un mensaje de voz", "un sticker",
        ),
    ),
    "it": ReportTexts(
        reactions="""
            Ha aggiunto un cuoricino a {q}
            Ha aggiunto un cuore a {q}
            Ha aggiunto {r} a {q}
            Ha aggiunto i punti esclamativi a {q}
            Ha aggiunto il punto esclamativo a {q}
            Ha aggiunto il punto interrogativo a {q}
            Ha aggiunto un punto interrogativo a {q}
            Ha aggiunto una risata a {q}
            Ha aggiunto {e} a {q}
            Ha messo {r} a {q}
            Ha messo Mi piace a {q}
            Ha messo un cuore a {q}
            Gli piace {q}
            Trova divertente {q}
            Ha riso per {q}
            Ha riso di {q}
            Ha enfatizzato {q}
            Ha messo in dubbio {q}
            Ha adorato {q}
            Ha rimosso il cuoricino da {q}
            Ha rimosso un cuore da {q}
            Ha rimosso {r} da {q}
            Ha rimosso i punti esclamativi da {q}
            Ha rimosso il punto interrogativo da {q}
            Ha rimosso una risata da {q}
            Ha rimosso {e} da {q}
            Non trova più divertente {q}
            Ha reagito con {e} a {q}
            Ha reagito con uno sticker a {q}
            Ha reagito {e} a {q}
            {e} a {q}
        """,
        edits="""
            Modificato in {q}
            Ha modificato in {q}
            Cambiato in {q}
        """,
        things=(
            "un'immagine", "una foto", "un video", "un filmato", "un allegato", "un messaggio audio", "un messaggio vocale", "uno sticker",
        ),
    ),
    "pt": ReportTexts(
        reactions="""
            Adorou {q}
            Amou {q}
            Curtiu {q}
            Gostou de {q}
            Não curtiu {q}
            Descurtiu {q}
            Não gostou de {q}
            Riu de {q}
            Riu-se de {q}
            Riu com {q}
            Enfatizou {q}
            Destacou {q}
            Questionou {q}
            Reagiu com {e} a {q}
            Reagiu com {r} a {q}
            Reagiu {e} a {q}
            Reagiu com uma figurinha a {q}
            Reagiu com um autocolante a {q}
            Adicionou um coração a {q}
            Adicionou {e} a {q}
            Removeu {e} de {q}
            Removeu um coração de {q}
            Removeu o coração de {q}
            Removeu uma curtida de {q}
            Removeu um gosto de {q}
            Removeu um não gosto de {q}
            Removeu uma risada de {q}
            Removeu uma exclamação de {q}
            Removeu uma interrogação de {q}
            Removeu um ponto de interrogação de {q}
            Removeu {r} de {q}
            {e} a {q}
            {e} para {q}
            {e} em {q}
        """,
        edits="""
            Editado para {q}
            Editou para {q}
            Editada para {q}
            Alterado para {q}
        """,
        things=(
            "uma imagem", "uma foto", "uma fotografia", "um vídeo", "um filme", "um anexo", "uma mensagem de áudio", "uma mensagem de voz",
            "uma figurinha", "um autocolante",
        ),
    ),
    "nl": ReportTexts(
        reactions="""
            Gaf een hartje aan {q}
            Vond {q} leuk
            Vond {q} niet leuk
            Vindt {q} leuk
            Vindt {q} niet leuk
            Vond {q} geweldig
            Lachte om {q}
            Benadrukte {q}
            Zette een vraagteken bij {q}
            Zette een uitroepteken bij {q}
            Verwijderde een hartje van {q}
            Verwijderde een duim omhoog van {q}
            Verwijderde een duim omlaag van {q}
            Verwijderde een lach van {q}
            Verwijderde een uitroepteken van {q}
            Verwijderde een vraagteken van {q}
            Verwijderde {e} van {q}
            Verwijderde {e} uit {q}
            Reageerde met {e} op {q}
            reageerde met {e} op {q}
            Heeft met {e} gereageerd op {q}
            Reageerde met een sticker op {q}
            {e} op {q}
            {e} aan {q}
        """,
        edits="""
            Bewerkt naar {q}
            Bewerkt tot {q}
            Bewerkt in {q}
            Gewijzigd in {q}
            Gewijzigd naar {q}
            Aangepast naar {q}
        """,
        things=(
            "een afbeelding", "een foto", "een video", "een film", "een bijlage", "een audiobericht", "een spraakbericht", "een sticker",
        ),
    ),
    "sv": ReportTexts(
        reactions="""
            Gav ett hjärta till {q}
            Gillade {q}
            Ogillade {q}
            Älskade {q}
            Skrattade åt {q}
            Betonade {q}
            Satte ett frågetecken på {q}
            Ifrågasatte {q}
            Tog bort ett hjärta från {q}
            Tog bort ett gillande från {q}
            Tog bort ett ogillande från {q}
            Tog bort ett skratt från {q}
            Tog bort utropstecken från {q}
            Tog bort ett utropstecken från {q}
            Tog bort ett frågetecken från {q}
            Tog bort {e} från {q}
            Reagerade med {e} på {q}
            reagerade med {e} på {q}
            Reagerade med ett klistermärke på {q}
            {e} till {q}
            {e} på {q}
        """,
        edits="""
            Redigerades till {q}
            Redigerade till {q}
            Redigerat till {q}
            Redigerad till {q}
            Ändrades till {q}
            Ändrade till {q}
            Ändrat till {q}
        """,
        things=("en bild", "ett foto", "en video", "en film", "en bilaga", "ett ljudmeddelande", "ett röstmeddelande", "ett klistermärke"),
    ),
    "da": ReportTexts(
        reactions="""
            Føjede et hjerte til {q}
            Syntes om {q}
            Syntes ikke om {q}
            Elskede {q}
            Grinede af {q}
            Lo af {q}
            Fremhævede {q}
            Føjede udråbstegn til {q}
            Føjede et spørgsmålstegn til {q}
            Fjernede et hjerte fra {q}
            Fjernede et synes om fra {q}
            Fjernede et synes ikke om fra {q}
            Fjernede et grin fra {q}
            Fjernede et udråbstegn fra {q}
            Fjernede et spørgsmålstegn fra {q}
            Fjernede {e} fra {q}
            Reagerede med {e} på {q}
            {e} til {q}
        """,
        edits="""
            Redigeret til {q}
            Redigerede til {q}
            Ændret til {q}
        """,
        things=("et billede", "et foto", "en video", "en film", "et bilag", "en lydbesked", "en talebesked"),
    ),
    "nb": ReportTexts(
        reactions="""
            Satte et hjerte ved {q}
            Likte {q}
            Likte ikke {q}
            Mislikte {q}
            Elsket {q}
            Lo av {q}
            Framhevet {q}
            Fremhevet {q}
            Satte utropstegn ved {q}
            Satte spørsmålstegn ved {q}
            Fjernet et hjerte fra {q}
            Liker ikke lenger {q}
            Misliker ikke lenger {q}
            Fjernet latter fra {q}
            Fjernet et utropstegn fra {q}
            Fjernet et spørsmålstegn fra {q}
            Fjernet {e} fra {q}
            Fjernet {e} for {q}
            La til {e} for {q}
            Reagerte med {e} på {q}
            {e} til {q}
        """,
        edits="""
            Redigert til {q}
            Redigerte til {q}
            Endret til {q}
        """,
        things=("et bilde", "et foto", "en video", "en film", "et vedlegg", "en lydmelding", "en talemelding"),
    ),
    "pl": ReportTexts(
        reactions="""
            Pokochał {q}
            Pokochała {q}
            Pokochał(a) {q}
            Polubił {q}
            Polubiła {q}
            Polubił(a) {q}
            Polubiono {q}
            Znielubił {q}
            Znielubiła {q}
            Znielubił(a) {q}
            Nie polubił {q}
            Nie polubiła {q}
            Zaśmiał się z {q}
            Zaśmiała się z {q}
            Zaśmiał(a) się z {q}
            Podkreślił {q}
            Podkreśliła {q}
            Podkreślił(a) {q}
            Zakwestionował {q}
            Zakwestionowała {q}
            Zakwestionował(a) {q}
            Zareagował {e} na {q}
            Zareagowała {e} na {q}
            Zareagował(a) {e} na {q}
            Zareagowano {e} na {q}
            Dodano {r} do {q}
            Dodano {e} do {q}
            Usunięto {r} z {q}
            Usunięto {e} z {q}
            Usunął {e} z {q}
            Usunęła {e} z {q}
            Usunął serce z {q}
            Usunął polubienie z {q}
            Usunął znielubienie z {q}
            Usunął śmiech z {q}
            Usunął okrzyk z {q}
            Usunął znak zapytania z {q}
            Usunęła serce z {q}
            Usunęła polubienie z {q}
            Usunęła znielubienie z {q}
            Usunęła śmiech z {q}
            Usunęła okrzyk z {q}
            Usunęła znak zapytania z {q}
            {e} do {q}
            {e} na {q}
        """,
        edits="""
            Zmieniono na {q}
            Edytowano na {q}
            Poprawiono na {q}
        """,
        things=("obrazek", "obraz", "załącznik", "wiadomość audio", "wiadomość głosową"),
    ),
    "cs": ReportTexts(
        reactions="""
            Líbí se {q}
            Líbí se mu {q}
            Nelíbí se {q}
            Zamiloval si {q}
            Zasmál se {q}
            Zdůraznil {q}
            Zpochybnil {q}
            Reagoval {e} na {q}
            Reagovala {e} na {q}
            Odebral {e} z {q}
            Odebrala {e} z {q}
            {e} na {q}
            {e} k {q}
        """,
        edits="""
            Upraveno na {q}
            Změněno na {q}
        """,
        things=("obrázek", "fotku", "přílohu", "zvukovou zprávu"),
    ),
    "ru": ReportTexts(
        reactions="""
            Очень понравилось {q}
            Понравилось {q}
            Не понравилось {q}
            Посмеялись над {q}
            Посмеялся над {q}
            Посмеялась над {q}
            Отмечено {q}
            Выделено {q}
            Поставлен вопрос на {q}
            Поставлен вопрос к {q}
            Реакция {e} на {q}
            Реакция {e} удалена из {q}
            Отреагировал {e} на {q}
            Отреагировала {e} на {q}
            Отреагировал(а) {e} на {q}
            Отреагировал(а) {e} на сообщение {q}
            Удалил(а) {e} из {q}
            Удалено {e} из {q}
            Удалена реакция {e} на {q}
            {e} на {q}
        """,
        edits="""
            Изменено на {q}
            Исправлено на {q}
            Отредактировано на {q}
        """,
    ),
    "uk": ReportTexts(
        reactions="""
            Дуже подобається {q}
            Подобається {q}
            Не подобається {q}
            Сміється з {q}
            Наголошує на {q}
            Піддає сумніву {q}
            Додано реакцію {r} на {q}
            Додано реакцію {e} на {q}
            Реакція {e} на {q}
            Вилучено {e} з {q}
            Вилучено реакцію {e} на {q}
            {e} на {q}
        """,
        edits="""
            Змінено на {q}
            Відредаговано на {q}
        """,
    ),
    "tr": ReportTexts(
        reactions="""
            Kalp eklendi {q}
            Beğenildi {q}
            Beğenilmedi {q}
            Gülme işareti eklendi {q}
            Ünlem işareti eklendi {q}
            Soru işareti eklendi {q}
            {e} eklendi {q}
            Kalp silindi {q}
            Beğeni silindi {q}
            Beğenmeme silindi {q}
            Gülme işareti silindi {q}
            Ünlem işareti silindi {q}
            Soru işareti silindi {q}
            {e} silindi {q}
            {q} iletisine {e} ile tepki verildi
            {q} mesajına {e} ile tepki verdi
            {q} mesajına {e} ifadesini bıraktı
        """,
        edits="""
            Düzenlendi {q}
            Şu şekilde düzenlendi {q}
            {q} olarak düzenlendi
        """,
        things=("bir görüntü", "bir resim", "bir fotoğraf", "bir video", "bir ilişik", "bir ses mesajı"),
    ),
    "el": ReportTexts(
        reactions="""
            Αντέδρασε με {e} σε {q}
            Αφαίρεσε {e} από {q}
            Του αρέσει {q}
            Άρεσε {q}
            Δεν άρεσε {q}
            Λάτρεψε {q}
            Γέλασε με {q}
            Τόνισε {q}
            Αμφισβήτησε {q}
            {e} σε {q}
        """,
        edits="Έγινε επεξεργασία σε {q}",
        things=("μια εικόνα", "μια φωτογραφία", "ένα βίντεο"),
    ),
    "ja": ReportTexts(
        reactions="""
            {q}に{e}でリアクションしました
            {q}に{e}で反応しました
            {q}に{e}を付けました
            {q}に{e}をつけました
            {q}に{e}を追加しました
            {q}から{e}を削除しました
            {q}から{e}を外しました
            {q}の{e}を取り消しました
            {q}に{r}しました
            {q}に{r}を付けました
            {q}に{r}をつけました
            {q}に{r}と反応しました
            {q}から{r}を削除しました
            {q}の{r}を取り消しました
            {q}に"いいね"しました
            {q}にいいねしました
            {q}にいいね!しました
            {q}にいいね！しました
            {q}に"よくないね"しました
            {q}によくないねしました
            {q}にハートしました
            {q}にハートを付けました
            {q}にハートをつけました
            {q}にハートを送りました
            {q}のハートを削除しました
            {q}からハートを削除しました
            {q}のハートを取り消しました
            {q}が大好きです
            {q}を大好きと言いました
            {q}を好きと言いました
            {q}を気に入りました
            {q}に笑いました
            {q}を笑いました
            {q}で笑いました
            {q}を強調しました
            {q}を質問しました
            {q}に質問しました
            {q}に疑問を持ちました
            {q}に感嘆符を付けました
            {q}に疑問符を付けました
            {q}のいいねを取り消しました
            {q}のリアクションを取り消しました
            {q}に{e}
            {e}を{q}に
        """,
        edits="""
            {q}に編集しました
            {q}に編集済み
            {q}に変更しました
            {q}に修正しました
            編集済み {q}
        """,
    ),
    "zh": ReportTexts(
        reactions="""
            喜欢{q}
            喜欢了{q}
            赞了{q}
            不喜欢{q}
            踩了{q}
            大笑{q}
            笑了{q}
            对{q}大笑
            惊叹{q}
            强调{q}
            强调了{q}
            质疑{q}
            质疑了{q}
            疑问{q}
            用{e}回应了{q}
            用{e}回应{q}
            以{e}回应{q}
            对{q}表示{e}
            对{q}表示了{e}
            对{q}做出了{e}回应
            已对{q}回应{e}
            从{q}移除{e}
            从{q}中移除了{e}
            移除了{q}的{e}
            移除了{q}的爱心
            移除了{q}的赞
            取消了对{q}的喜欢
            取消了对{q}的{e}
            喜歡{q}
            喜歡了{q}
            按讚{q}
            對{q}按讚
            說{q}讚
            不喜歡{q}
            驚嘆{q}
            強調{q}
            強調了{q}
            質疑{q}
            疑問{q}
            對{q}大笑
            對{q}表示{e}
            對{q}表示了{e}
            已用{e}回應{q}
            用{e}回應了{q}
            以{e}回應{q}
            從{q}移除{e}
            從{q}移除了{e}
            已移除{q}的{e}
            移除了{q}的愛心
            取消了對{q}的喜歡
            {e}回应{q}
            {e}回應{q}
            {e} 给 {q}
            {e} 給 {q}
        """,
        edits="""
            编辑为{q}
            已编辑为{q}
            修改为{q}
            已修改为{q}
            已将信息编辑为{q}
            編輯為{q}
            已編輯為{q}
            已修改為{q}
            已將訊息編輯為{q}
        """,
        things=(
            "一张图片", "一张照片", "一个视频", "一張圖片", "一張影像", "一張照片", "一段影片",
        ),
    ),
    "ko": ReportTexts(
        reactions="""
            {q}에 {e} 표시 추가함
            {q}에서 {e} 표시 제거함
            {q}에 하트 표시 추가함
            {q}에 좋아요 표시 추가함
            {q}에 싫어요 표시 추가함
            {q}에 웃음 표시 추가함
            {q}에 느낌표 표시 추가함
            {q}에 물음표 표시 추가함
            {q}에서 하트 표시 제거함
            {q}에서 좋아요 표시 제거함
            {q}에서 싫어요 표시 제거함
            {q}에서 웃음 표시 제거함
            {q}에서 느낌표 표시 제거함
            {q}에서 물음표 표시 제거함
            {q}에 {r} 표시 추가함
            {q}에서 {r} 표시 제거함
            {q}을(를) 좋아함
            {q}을(를) 좋아하지 않음
            {q}을(를) 사랑함
            {q}을(를) 강조함
            {q}에 웃음
            {q}에 하트를 추가함
            {q}에 좋아요를 표시함
            {q}에 의문을 표시함
            {q}에 {e}로 반응함
            {q}에 {e}(으)로 반응함
            {q}에 {e} 반응을 보냈습니다
            {q}에 {e}
        """,
        edits="""
            {q}(으)로 편집함
            {q}(으)로 편집됨
            {q}(으)로 수정함
            {q}으로 편집함
            {q}로 편집함
        """,
    ),
    "vi": ReportTexts(
        reactions="""
            Đã thích {q}
            Đã yêu thích {q}
            Đã không thích {q}
            Đã cười {q}
            Đã cười vì {q}
            Đã cười về {q}
            Đã nhấn mạnh {q}
            Đã nghi vấn {q}
            Đã thả {e} cho {q}
            Đã thả {e} vào {q}
            Đã thả tim {q}
            Đã tương tác {e} với {q}
            Đã bày tỏ cảm xúc {e} với {q}
            Đã xóa {e} khỏi {q}
            Đã xóa tim khỏi {q}
            {e} với {q}
        """,
        edits="""
            Đã sửa thành {q}
            Đã chỉnh sửa thành {q}
        """,
        things=("một hình ảnh", "hình ảnh", "một ảnh", "một video", "một tệp đính kèm"),
    ),
    "id": ReportTexts(
        reactions="""
            Menyukai {q}
            Mencintai {q}
            Tidak menyukai {q}
            Menertawakan {q}
            Menekankan {q}
            Mempertanyakan {q}
            Bereaksi {e} terhadap {q}
            Bereaksi {e} ke {q}
            Menghapus {e} dari {q}
            {e} ke {q}
            {e} pada {q}
        """,
        edits="""
            Diedit menjadi {q}
            Diubah menjadi {q}
        """,
    ),
    "ar": ReportTexts(
        reactions="""
            أحبّ(ت) {q}
            أحب(ت) {q}
            وضع(ت) إعجابًا على {q}
            وضع(ت) عدم إعجاب على {q}
            ضحك(ت) على {q}
            أكّد(ت) على {q}
            أكد(ت) على {q}
            تساءل(ت) عن {q}
            تفاعل(ت) {e} على {q}
            تفاعل(ت) بـ {e} على {q}
            تفاعل(ت) بـ{e} مع {q}
            أزال(ت) {e} من {q}
            {e} على {q}
        """,
        edits="تم التعديل إلى {q}",
    ),
    "th": ReportTexts(
        reactions="""
            ชอบ {q}
            ไม่ชอบ {q}
            รัก {q}
            หัวเราะ {q}
            หัวเราะให้กับ {q}
            เน้น {q}
            ตั้งคำถาม {q}
            แสดงความรู้สึก {e} ต่อ {q}
            ลบ {e} ออกจาก {q}
        """,
        edits="แก้ไขเป็น {q}",
    ),
}  # fmt: skip
