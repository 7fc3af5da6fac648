"""Words whose spelling says little about their sound, and letter names; written for this project.

Vowels carry a stress digit. Ordinary words come from the letter-to-phone network; these come first.
"""

_TABLE = """
a ax0 | an ae1 n | the dh ax0 | and ae1 n d | of ah1 v | to t uw1 | or ao1 r | for f ao1 r | from f r ah1 m
i ay1 | me m iy1 | my m ay1 | mine m ay1 n | you y uw1 | your y ao1 r | yours y ao1 r z | he hh iy1
him hh ih1 m | his hh ih1 z | she sh iy1 | her hh er0 | hers hh er1 z | it ih1 t | its ih1 t s | we w iy1
us ah1 s | our aw1 er0 | ours aw1 er0 z | they dh ey1 | them dh eh1 m | their dh eh1 r | theirs dh eh1 r z
this dh ih1 s | that dh ae1 t | these dh iy1 z | those dh ow1 z | there dh eh1 r | here hh ih1 r
where w eh1 r | who hh uw1 | whom hh uw1 m | whose hh uw1 z | what w ah1 t | which w ih1 ch | why w ay1
when w eh1 n | how hh aw1 | then dh eh1 n | than dh ae1 n | is ih1 z | am ae1 m | are aa1 r | was w aa1 z
were w er0 | be b iy1 | been b ih1 n | being b iy1 ih0 ng | have hh ae1 v | has hh ae1 z | had hh ae1 d
having hh ae1 v ih0 ng | do d uw1 | does d ah1 z | did d ih1 d | done d ah1 n | doing d uw1 ih0 ng
will w ih1 l | would w uh1 d | could k uh1 d | should sh uh1 d | shall sh ae1 l | may m ey1 | might m ay1 t
must m ah1 s t | can k ae1 n | ought ao1 t | used y uw1 z d | use y uw1 z | says s eh1 z | said s eh1 d
goes g ow1 z | gone g ao1 n | come k ah1 m | comes k ah1 m z | coming k ah1 m ih0 ng | give g ih1 v
gives g ih1 v z | given g ih1 v ax0 n | live l ih1 v | lives l ih1 v z | lived l ih1 v d | love l ah1 v
loved l ah1 v d | move m uw1 v | prove p r uw1 v | lose l uw1 z | read r iy1 d | heard hh er1 d
hear hh ih1 r | wear w eh1 r | bear b eh1 r | tear t eh1 r | tears t ih1 r z | great g r ey1 t
break b r ey1 k | steak s t ey1 k | dead d eh1 d | head hh eh1 d | bread b r eh1 d | death d eh1 th
breath b r eh1 th | breathe b r iy1 dh | health hh eh1 l th | wealth w eh1 l th | weather w eh1 dh er0
whether w eh1 dh er0 | leather l eh1 dh er0 | feather f eh1 dh er0 | heaven hh eh1 v ax0 n
heavy hh eh1 v iy0 | ready r eh1 d iy0 | already ao0 l r eh1 d iy0 | instead ih0 n s t eh1 d
heart hh aa1 r t | earth er1 th | early er1 l iy0 | learn l er1 n | search s er1 ch | year y ih1 r
years y ih1 r z | one w ah1 n | once w ah1 n s | ones w ah1 n z | two t uw1 | three th r iy1 | four f ao1 r
five f ay1 v | six s ih1 k s | seven s eh1 v ax0 n | eight ey1 t | nine n ay1 n | ten t eh1 n
eleven ih0 l eh1 v ax0 n | twelve t w eh1 l v | thirteen th er1 t iy1 n | fourteen f ao1 r t iy1 n
fifteen f ih0 f t iy1 n | sixteen s ih0 k s t iy1 n | seventeen s eh1 v ax0 n t iy1 n | eighteen ey0 t iy1 n
nineteen n ay1 n t iy1 n | twenty t w eh1 n t iy0 | thirty th er1 d iy0 | forty f ao1 r t iy0
fifty f ih1 f t iy0 | sixty s ih1 k s t iy0 | seventy s eh1 v ax0 n t iy0 | eighty ey1 t iy0
ninety n ay1 n t iy0 | hundred hh ah1 n d r ax0 d | thousand th aw1 z ax0 n d | million m ih1 l y ax0 n
billion b ih1 l y ax0 n | trillion t r ih1 l y ax0 n | zero z ih1 r ow0 | first f er1 s t
second s eh1 k ax0 n d | third th er1 d | fourth f ao1 r th | fifth f ih1 f th | sixth s ih1 k s th
seventh s eh1 v ax0 n th | eighth ey1 t th | ninth n ay1 n th | tenth t eh1 n th
eleventh ih0 l eh1 v ax0 n th | twelfth t w eh1 l f th | half hh ae1 f | quarter k w ao1 r t er0
quarters k w ao1 r t er0 z | point p oy1 n t | monday m ah1 n d iy0 | tuesday t uw1 z d iy0
wednesday w eh1 n z d iy0 | thursday th er1 z d iy0 | friday f r ay1 d iy0 | saturday s ae1 t er0 d iy0
sunday s ah1 n d iy0 | january jh ae1 n y uw0 eh1 r iy0 | february f eh1 b r ax0 w eh1 r iy0
march m aa1 r ch | april ey1 p r ax0 l | june jh uw1 n | july jh ax0 l ay1 | august ao1 g ax0 s t
september s ax0 p t eh1 m b er0 | october aa0 k t ow1 b er0 | november n ow0 v eh1 m b er0
december d ih0 s eh1 m b er0 | minute m ih1 n ax0 t | minutes m ih1 n ax0 t s | hour aw1 er0
hours aw1 er0 z | week w iy1 k | month m ah1 n th | months m ah1 n th s | people p iy1 p ax0 l
woman w uh1 m ax0 n | women w ih1 m ax0 n | man m ae1 n | men m eh1 n | child ch ay1 l d
children ch ih1 l d r ax0 n | friend f r eh1 n d | friends f r eh1 n d z | mother m ah1 dh er0
father f aa1 dh er0 | brother b r ah1 dh er0 | other ah1 dh er0 | others ah1 dh er0 z
another ax0 n ah1 dh er0 | daughter d ao1 t er0 | son s ah1 n | nothing n ah1 th ih0 ng
something s ah1 m th ih0 ng | anything eh1 n iy0 th ih1 ng | everything eh1 v r iy0 th ih1 ng
any eh1 n iy0 | anyone eh1 n iy0 w ah1 n | anybody eh1 n iy0 b aa1 d iy0 | many m eh1 n iy0 | some s ah1 m
someone s ah1 m w ah1 n | somebody s ah1 m b aa1 d iy0 | none n ah1 n | nobody n ow1 b aa1 d iy0
every eh1 v er0 iy0 | everyone eh1 v r iy0 w ah1 n | both b ow1 th | only ow1 n l iy0 | own ow1 n
know n ow1 | known n ow1 n | knows n ow1 z | knew n uw1 | new n uw1 | now n aw1 | down d aw1 n
town t aw1 n | show sh ow1 | shown sh ow1 n | low l ow1 | slow s l ow1 | grow g r ow1 | flow f l ow1
allow ax0 l aw1 | below b ih0 l ow1 | follow f aa1 l ow0 | through th r uw1 | though dh ow1
although ao0 l dh ow1 | thought th ao1 t | thorough th er1 ow0 | tough t ah1 f | rough r ah1 f
enough ih0 n ah1 f | cough k ao1 f | laugh l ae1 f | laughed l ae1 f t | daughters d ao1 t er0 z
caught k ao1 t | taught t ao1 t | bought b ao1 t | brought b r ao1 t | fought f ao1 t | eye ay1 | eyes ay1 z
height hh ay1 t | weight w ey1 t | neighbour n ey1 b er0 | neighbor n ey1 b er0 | foreign f ao1 r ax0 n
ocean ow1 sh ax0 n | island ay1 l ax0 n d | isle ay1 l | aisle ay1 l | sign s ay1 n | design d ih0 z ay1 n
listen l ih1 s ax0 n | often ao1 f ax0 n | castle k ae1 s ax0 l | answer ae1 n s er0 | sword s ao1 r d
island's ay1 l ax0 n d z | debt d eh1 t | doubt d aw1 t | subtle s ah1 t ax0 l | climb k l ay1 m
comb k ow1 m | tomb t uw1 m | bomb b aa1 m | lamb l ae1 m | thumb th ah1 m | knife n ay1 f | knee n iy1
knock n aa1 k | write r ay1 t | wrote r ow1 t | written r ih1 t ax0 n | wrong r ao1 ng | wrist r ih1 s t
honest aa1 n ax0 s t | honour aa1 n er0 | honor aa1 n er0 | heir eh1 r | ghost g ow1 s t | guess g eh1 s
guest g eh1 s t | guide g ay1 d | guitar g ih0 t aa1 r | guard g aa1 r d | build b ih1 l d | built b ih1 l t
buy b ay1 | busy b ih1 z iy0 | business b ih1 z n ax0 s | biscuit b ih1 s k ax0 t | circuit s er1 k ax0 t
fruit f r uw1 t | juice jh uw1 s | suit s uw1 t | sure sh uh1 r | sugar sh uh1 g er0
pleasure p l eh1 zh er0 | measure m eh1 zh er0 | treasure t r eh1 zh er0 | leisure l iy1 zh er0
usual y uw1 zh ax0 w ax0 l | usually y uw1 zh ax0 w ax0 l iy0 | vision v ih1 zh ax0 n
decision d ih0 s ih1 zh ax0 n | colour k ah1 l er0 | color k ah1 l er0 | doctor d aa1 k t er0
mister m ih1 s t er0 | missus m ih1 s ax0 z | miss m ih1 s | ms m ih1 z | saint s ey1 n t
street s t r iy1 t | sergeant s aa1 r jh ax0 n t | colonel k er1 n ax0 l | lieutenant l uw0 t eh1 n ax0 n t
professor p r ax0 f eh1 s er0 | iron ay1 er0 n | queue k y uw1 | choir k w ay1 er0 | chorus k ao1 r ax0 s
chemist k eh1 m ih0 s t | school s k uw1 l | stomach s t ah1 m ax0 k | ache ey1 k | echo eh1 k ow0
anchor ae1 ng k er0 | machine m ax0 sh iy1 n | police p ax0 l iy1 s | blood b l ah1 d | flood f l ah1 d
door d ao1 r | floor f l ao1 r | poor p uh1 r | good g uh1 d | food f uw1 d | foot f uh1 t | book b uh1 k
look l uh1 k | wood w uh1 d | stood s t uh1 d | wool w uh1 l | blind b l ay1 n d | kind k ay1 n d
mind m ay1 n d | find f ay1 n d | behind b ih0 hh ay1 n d | wild w ay1 l d | mild m ay1 l d | old ow1 l d
cold k ow1 l d | told t ow1 l d | gold g ow1 l d | hold hh ow1 l d | word w er1 d | words w er1 d z
work w er1 k | world w er1 l d | worth w er1 th | worse w er1 s | worst w er1 s t | war w ao1 r
warm w ao1 r m | water w ao1 t er0 | want w aa1 n t | wash w aa1 sh | watch w aa1 ch | swan s w aa1 n
walk w ao1 k | talk t ao1 k | chalk ch ao1 k | calm k aa1 m | palm p aa1 m | halves hh ae1 v z
wolf w uh1 l f | put p uh1 t | push p uh1 sh | pull p uh1 l | full f uh1 l | bull b uh1 l | bush b uh1 sh
country k ah1 n t r iy0 | young y ah1 ng | touch t ah1 ch | trouble t r ah1 b ax0 l | double d ah1 b ax0 l
cousin k ah1 z ax0 n | couple k ah1 p ax0 l | southern s ah1 dh er0 n | group g r uw1 p | soup s uw1 p
route r uw1 t | soul s ow1 l | shoulder sh ow1 l d er0 | shoe sh uw1 | shoes sh uw1 z | canoe k ax0 n uw1
toe t ow1 | glove g l ah1 v | above ax0 b ah1 v | oven ah1 v ax0 n | cover k ah1 v er0
discover d ih0 s k ah1 v er0 | government g ah1 v er0 m ax0 n t | company k ah1 m p ax0 n iy0
london l ah1 n d ax0 n | front f r ah1 n t | monkey m ah1 ng k iy0 | money m ah1 n iy0 | honey hh ah1 n iy0
tongue t ah1 ng | ton t ah1 n | wonder w ah1 n d er0 | wonderful w ah1 n d er0 f ax0 l | son's s ah1 n z
idea ay0 d iy1 ax0 | area eh1 r iy0 ax0 | real r iy1 l | really r ih1 l iy0 | theatre th iy1 ax0 t er0
theater th iy1 ax0 t er0 | museum m y uw0 z iy1 ax0 m | create k r iy0 ey1 t | science s ay1 ax0 n s
quiet k w ay1 ax0 t | quite k w ay1 t | quit k w ih1 t | society s ax0 s ay1 ax0 t iy0
beautiful b y uw1 t ax0 f ax0 l | beauty b y uw1 t iy0 | view v y uw1 | review r iy0 v y uw1
language l ae1 ng g w ax0 jh | voice v oy1 s | voices v oy1 s ax0 z | sentence s eh1 n t ax0 n s
recipe r eh1 s ax0 p iy0 | cafe k ax0 f ey1 | restaurant r eh1 s t er0 aa1 n t
vegetable v eh1 jh t ax0 b ax0 l | chocolate ch ao1 k l ax0 t | comfortable k ah1 m f er0 t ax0 b ax0 l
interesting ih1 n t r ax0 s t ih0 ng | different d ih1 f er0 ax0 n t | important ih0 m p ao1 r t ax0 n t
please p l iy1 z | yes y eh1 s | no n ow1 | okay ow1 k ey1 | hello hh ax0 l ow1 | goodbye g uh1 d b ay1
thanks th ae1 ng k s | dollar d aa1 l er0 | dollars d aa1 l er0 z | cent s eh1 n t | cents s eh1 n t s
pound p aw1 n d | pounds p aw1 n d z | pence p eh1 n s | euro y uh1 r ow0 | euros y uh1 r ow0 z
yen y eh1 n | percent p er0 s eh1 n t | degree d ih0 g r iy1 | degrees d ih0 g r iy1 z
etcetera eh1 t s eh1 t er0 ax0 | versus v er1 s ax0 s | kilometre k ax0 l aa1 m ax0 t er0
kilometres k ax0 l aa1 m ax0 t er0 z | metre m iy1 t er0 | metres m iy1 t er0 z
kilogram k ih1 l ax0 g r ae1 m | kilograms k ih1 l ax0 g r ae1 m z | won't w ow1 n t | don't d ow1 n t
can't k ae1 n t | didn't d ih1 d ax0 n t | doesn't d ah1 z ax0 n t | isn't ih1 z ax0 n t
wasn't w aa1 z ax0 n t | weren't w er1 ax0 n t | aren't aa1 r ax0 n t | haven't hh ae1 v ax0 n t
hasn't hh ae1 z ax0 n t | hadn't hh ae1 d ax0 n t | wouldn't w uh1 d ax0 n t | couldn't k uh1 d ax0 n t
shouldn't sh uh1 d ax0 n t | i'm ay1 m | i've ay1 v | i'd ay1 d | i'll ay1 l | you're y uh1 r
you've y uw1 v | you'll y uw1 l | you'd y uw1 d | he's hh iy1 z | he'd hh iy1 d | he'll hh iy1 l
she's sh iy1 z | she'd sh iy1 d | she'll sh iy1 l | it's ih1 t s | it'll ih1 t ax0 l | we're w iy1 r
we've w iy1 v | we'll w iy1 l | we'd w iy1 d | they're dh eh1 r | they've dh ey1 v | they'll dh ey1 l
they'd dh ey1 d | that's dh ae1 t s | there's dh eh1 r z | here's hh ih1 r z | what's w ah1 t s
who's hh uw1 z | where's w eh1 r z | how's hh aw1 z | let's l eh1 t s | python p ay1 th aa0 n
torch t ao1 r ch | audio ao1 d iy0 ow1 | data d ey1 t ax0 | file f ay1 l | model m aa1 d ax0 l
wave w ey1 v | synthesis s ih1 n th ax0 s ax0 s | also ao1 l s ow0 | always ao1 l w ey1 z | as ae1 z
into ih0 n t uw1 | onto aa1 n t uw0 | upon ax0 p aa1 n | with w ih1 dh | again ax0 g eh1 n
against ax0 g eh1 n s t | ago ax0 g ow1 | today t ax0 d ey1 | tonight t ax0 n ay1 t
tomorrow t ax0 m aa1 r ow1 | yesterday y eh1 s t er0 d ey0 | evening iy1 v n ih0 ng
weekend w iy1 k eh1 n d | maybe m ey1 b iy0 | cannot k ae0 n aa1 t | beyond b ih0 aa1 n d
toward t ax0 w ao1 r d | towards t ax0 w ao1 r d z | forever f er0 eh1 v er0 | forget f er0 g eh1 t
perfect p er1 f ax0 k t | river r ih1 v er0 | bicycle b ay1 s ih0 k ax0 l | pilot p ay1 l ax0 t
garage g er0 aa1 zh | sour s aw1 er0 | shower sh aw1 er0 | flour f l aw1 er0 | youngest y ah1 ng g ax0 s t
younger y ah1 ng g er0 | soldier s ow1 l jh er0 | soldiers s ow1 l jh er0 z | distance d ih1 s t ax0 n s
united y uw0 n ay1 t ax0 d | meant m eh1 n t | countries k ah1 n t r iy0 z
authority ax0 th ao1 r ax0 t iy0 | origin ao1 r ax0 jh ax0 n | pretty p r ih1 t iy0 | cache k ae1 sh
algorithm ae1 l g er0 ih1 dh ax0 m | algorithms ae1 l g er0 ih1 dh ax0 m z | invalid ih0 n v ae1 l ax0 d
thomas t aa1 m ax0 s | ok ow1 k ey1 | individual ih1 n d ax0 v ih1 jh ax0 w ax0 l | stephen s t iy1 v ax0 n
determine d ih0 t er1 m ax0 n | alice ae1 l ax0 s | opera aa1 p r ax0 | camera k ae1 m er0 ax0
costs k ao1 s t s | ancient ey1 n ch ax0 n t | matrix m ey1 t r ih0 k s | rely r ih0 l ay1
reply r ih0 p l ay1 | reuse r iy0 y uw1 z | chinese ch ay0 n iy1 z | cambridge k ey1 m b r ih0 jh
japan jh ax0 p ae1 n | variety v er0 ay1 ax0 t iy0 | tie t ay1 | lie l ay1 | argue aa1 r g y uw0
arguing aa1 r g y uw0 ih0 ng | aunt ae1 n t | balance b ae1 l ax0 n s | banana b ax0 n ae1 n ax0
breakfast b r eh1 k f ax0 s t | cause k ao1 z | cruel k r uw1 ax0 l | desert d eh1 z er0 t
disease d ih0 z iy1 z | dog d ao1 g | dogs d ao1 g z | drawer d r ao1 r | evil iy1 v ax0 l
excellent eh1 k s ax0 l ax0 n t | expert eh1 k s p er0 t | fever f iy1 v er0 | gas g ae1 s
giraffe jh er0 ae1 f | hero hh ih1 r ow0 | horizon hh er0 ay1 z ax0 n | hotel hh ow0 t eh1 l
hungry hh ah1 ng g r iy0 | husband hh ah1 z b ax0 n d | industry ih1 n d ax0 s t r iy0
mosquito m ax0 s k iy1 t ow0 | newspaper n uw1 z p ey1 p er0 | onion ah1 n y ax0 n
orchestra ao1 r k ax0 s t r ax0 | piano p iy0 ae1 n ow0 | poem p ow1 ax0 m | potato p ax0 t ey1 t ow1
tomato t ax0 m ey1 t ow1 | poverty p aa1 v er0 t iy0 | prison p r ih1 z ax0 n
religion r ih0 l ih1 jh ax0 n | rescue r eh1 s k y uw0 | reward r ih0 w ao1 r d | rhythm r ih1 dh ax0 m
smooth s m uw1 dh | soccer s aa1 k er0 | soft s ao1 f t | study s t ah1 d iy0 | sweat s w eh1 t
sweater s w eh1 t er0 | tobacco t ax0 b ae1 k ow1 | uncle ah1 ng k ax0 l | vacation v ey0 k ey1 sh ax0 n
vehicle v iy1 hh ih0 k ax0 l | volcano v aa0 l k ey1 n ow0 | weapon w eh1 p ax0 n | wind w ih1 n d
winds w ih1 n d z | zebra z iy1 b r ax0 | astronaut ae1 s t r ax0 n ao1 t
autonomous ao0 t aa1 n ax0 m ax0 s | behaviour b ih0 hh ey1 v y er0 | behavior b ih0 hh ey1 v y er0
biology b ay0 aa1 l ax0 jh iy0 | butterfly b ah1 t er0 f l ay1 | catastrophe k ax0 t ae1 s t r ax0 f iy0
champagne sh ae0 m p ey1 n | chaos k ey1 aa0 s | chemistry k eh1 m ax0 s t r iy0
conscience k aa1 n sh ax0 n s | cupboard k ah1 b er0 d | dinosaur d ay1 n ax0 s ao1 r
genius jh iy1 n y ax0 s | genuine jh eh1 n y ax0 w ax0 n | geography jh iy0 aa1 g r ax0 f iy0
photography f ax0 t aa1 g r ax0 f iy0 | giant jh ay1 ax0 n t | hygiene hh ay1 jh iy1 n
hypothesis hh ay0 p aa1 th ax0 s ax0 s | jealous jh eh1 l ax0 s | kilometer k ax0 l aa1 m ax0 t er0
kilometers k ax0 l aa1 m ax0 t er0 z | manoeuvre m ax0 n uw1 v er0 | melancholy m eh1 l ax0 n k aa1 l iy0
microphone m ay1 k r ax0 f ow1 n | mischief m ih1 s ch ax0 f | moustache m ah1 s t ae1 sh | obey ow0 b ey1
philosophy f ax0 l aa1 s ax0 f iy0 | photographer f ax0 t aa1 g r ax0 f er0 | pyramid p ih1 r ax0 m ih0 d
rendezvous r aa1 n d ih0 v uw1 | sandwich s ae1 n d w ih0 ch | scholar s k aa1 l er0
shepherd sh eh1 p er0 d | silhouette s ih1 l ax0 w eh1 t | spaghetti s p ax0 g eh1 t iy0
species s p iy1 sh iy0 z | tragedy t r ae1 jh ax0 d iy0 | yacht y aa1 t | consent k ax0 n s eh1 n t
website w eh1 b s ay1 t | websites w eh1 b s ay1 t s | upload ah1 p l ow1 d | phoneme f ow1 n iy0 m
phonemes f ow1 n iy0 m z | vocoder v ow1 k ow1 d er0 | embedding eh0 m b eh1 d ih0 ng
embeddings eh0 m b eh1 d ih0 ng z | email iy1 m ey1 l | online aa1 n l ay1 n
analysis ax0 n ae1 l ax0 s ax0 s | recover r ih0 k ah1 v er0 | robust r ow0 b ah1 s t | convey k ax0 n v ey1
comply k ax0 m p l ay1 | awful ao1 f ax0 l | unusual ah0 n y uw1 zh ax0 w ax0 l
existence ih0 g z ih1 s t ax0 n s | mountains m aw1 n t ax0 n z | garages g er0 aa1 zh ax0 z
herself hh er0 s eh1 l f | himself hh ih0 m s eh1 l f | themselves dh eh0 m s eh1 l v z
"""

_LETTERS = """
a ey1 | b b iy1 | c s iy1 | d d iy1 | e iy1 | f eh1 f | g jh iy1 | h ey1 ch | i ay1 | j jh ey1 | k k ey1
l eh1 l | m eh1 m | n eh1 n | o ow1 | p p iy1 | q k y uw1 | r aa1 r | s eh1 s | t t iy1 | u y uw1 | v v iy1
w d ah1 b ax0 l y uw0 | x eh1 k s | y w ay1 | z z iy1
"""


def _parse(table: str) -> dict[str, tuple[str, ...]]:
    rows = (entry.split() for line in table.strip().splitlines() for entry in line.split("|"))
    return {row[0]: tuple(row[1:]) for row in rows}


WORDS = _parse(_TABLE)
LETTERS = _parse(_LETTERS)
